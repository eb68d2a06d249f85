"""Decoding in processes of their own, for files whose decoder may hang or crash and cannot be ended in a thread.

DICOM goes this way, whatever its transfer syntax: parsing it is all Python, and its codecs keep the interpreter's lock,
so that threads would take turns; in processes they do not. So does TIFF, whose library has many codecs. PNG, JPEG and
BMP are decoded in threads: their codecs see a few bytes at a time and can do no more than a pixel for each step. NIfTI
and npz are inflated once for many images, which has to be kept where all threads find it.

A process gives itself as many seconds for a file as ``$CBIR_TIMEOUT`` says, 60 by default. Then the system ends it,
inside of a library or not, the file is unreadable like any other, and the next one gets a new process. A process waits
for its next file and ends with the program that started it, even when that is killed.
"""

import atexit
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy import ndarray

from cbir_cli import dicom
from cbir_cli.errors import ImageError, UsageError
from cbir_cli.records import Record

if TYPE_CHECKING:
    from cbir_cli.images import InputSpec

TIMEOUT = 60.0
"""Seconds; a radiograph takes less than one."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_CODE = "from cbir_cli import decoders; decoders.serve()"
_idle: list["subprocess.Popen[bytes]"] = []
"""Processes that wait for a file. There are never more than there were threads that decoded at one time."""
_lock = threading.Lock()


def is_risky(path: Path) -> bool:
    """Say whether a file is to be decoded in a process of its own, from its first 132 bytes."""
    try:
        if not path.is_file():  # a named pipe would block for ever
            return False
        with path.open("rb", buffering=0) as file:
            start = file.read(132)
    except OSError:
        return False  # decoding says what is wrong
    return dicom.is_dicom(start) or start[:4] in _TIFF


def timeout() -> float:
    """Return how many seconds a file may take; 0 is for ever.

    Raises
    ------
    UsageError
        If ``$CBIR_TIMEOUT`` is no such number.
    """
    text = os.environ.get("CBIR_TIMEOUT", "").strip() or str(TIMEOUT)
    if not re.fullmatch(r"\d+(\.\d*)?|\.\d+", text) or float(text) > 1e6:
        raise UsageError(f"CBIR_TIMEOUT={text}: expected seconds from 0, which is no limit, to 1000000")
    return float(text)


def load(spec: "InputSpec", record: Record) -> ndarray:
    """Pixels of an image at the size of a network's input, from a process of its own.

    Parameters
    ----------
    spec : InputSpec
    record : Record

    Returns
    -------
    ndarray (S, S) or (S, S, 3), float32
        As ``spec.load_here(record)``.

    Raises
    ------
    ImageError
        If the file cannot be decoded, not in time, or its decoder crashes.
    """
    limit = timeout()
    process = _taken()
    try:
        request = spec, Path(os.path.abspath(record.path)), record.part, limit
        answer = _asked(process.stdin, process.stdout, request)  # type: ignore[arg-type]  # both are pipes
    except (EOFError, OSError, pickle.UnpicklingError):
        status = _ended(process)
        name = record.path.name if record.path.name.isprintable() else ascii(record.path.name)
        if status == -signal.SIGALRM:
            raise ImageError(f"{name}: cannot be decoded in {limit:g} s; CBIR_TIMEOUT gives it longer") from None
        raise ImageError(f"{name}: damaged image: its decoder crashed ({_reason(status)})") from None
    except BaseException:
        _ended(process)  # it may be in the middle of an answer
        raise
    with _lock:
        _idle.append(process)
    if isinstance(answer, str):
        raise ImageError(answer)
    return answer


def serve() -> None:
    """Answer requests on standard input until it ends: pixels, or an error's one line."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the answers
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program that asks sees to that
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    while True:
        try:
            spec, path, part, limit = pickle.load(requests)
        except EOFError:
            return
        signal.setitimer(signal.ITIMER_REAL, limit)
        try:
            answer: ndarray | str = spec.load_here(Record("", path, "", part=part))
        except ImageError as error:
            answer = str(error)
        signal.setitimer(signal.ITIMER_REAL, 0)
        _send(answers, answer)


def _send(answers: BinaryIO, answer: ndarray | str) -> None:
    if isinstance(answer, str):
        pickle.dump(answer, answers)
    else:
        pickle.dump(answer.shape, answers)
        answers.write(np.ascontiguousarray(answer, np.float32).data)
    answers.flush()


def _asked(requests: IO[bytes], answers: IO[bytes], request: tuple[Any, ...]) -> ndarray | str:
    pickle.dump(request, requests)
    requests.flush()
    answer = pickle.load(answers)
    if isinstance(answer, str):
        return answer
    pixels = np.empty(answer, np.float32)
    if answers.readinto(pixels.data.cast("B")) != pixels.nbytes:  # type: ignore[attr-defined]
        raise EOFError
    return pixels


def _taken() -> "subprocess.Popen[bytes]":
    with _lock:
        while _idle:
            process = _idle.pop()
            if process.poll() is None:
                return process
    # A plain process with its own command, since one of multiprocessing would run the main program's file again.
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-c", _CODE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=variables,
        )
    except OSError as error:
        raise ImageError(f"no process to decode it in: {error.strerror}") from error


def _ended(process: "subprocess.Popen[bytes]") -> int:
    for pipe in (process.stdin, process.stdout):
        with suppress(OSError):
            pipe.close()  # type: ignore[union-attr]
    try:
        return process.wait(1)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _reason(status: int) -> str:
    try:
        return signal.Signals(-status).name
    except ValueError:
        return f"status {status}"


@atexit.register
def _end_all() -> None:
    while _idle:
        _ended(_idle.pop())
