"""What is wrong is said in one line, with the exit status that scripts rely on; nothing that was there is lost."""

import os
import re
import shutil

import h5py
import pytest
from PIL import Image
from small_chain import TRAINING

from cbir_cli.cli.main import COMMANDS

TRAIN = ["train", "--task", "pleural", "nih:set", *TRAINING]


@pytest.fixture(scope="module")
def bad(linked, chain):
    """The chain among all kinds of files that are not what they should be."""
    folder = linked("bad")
    (folder / "empty").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken/text.png").write_text("this is not an image\n")
    (folder / "broken/empty.png").touch()
    whole = folder / "whole.jpg"
    Image.open(chain / "set/images/00000001_000.png").convert("L").resize((200, 200)).save(whole)
    (folder / "broken/cut.jpg").write_bytes(whole.read_bytes()[:3000])
    (folder / "broken/cut.png").write_bytes((chain / "set/images/00000002_000.png").read_bytes()[:500])
    whole.unlink()
    shutil.copytree(folder / "broken", folder / "mixed")
    for number in (1, 2, 3):
        shutil.copy(chain / f"set/images/0000000{number}_000.png", folder / "mixed")
    (folder / "nothing.h5").touch()
    (folder / "text.h5").write_text("a letter, not an artifact\n" * 9)
    (folder / "half.h5").write_bytes((chain / "cnn.idx.h5").read_bytes()[:20_000])
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = [1, 2]
    (folder / "flipped.h5").write_bytes(flipped(chain / "cnn.idx.h5"))
    (folder / "nopath.csv").write_text("file,Effusion\na.png,1\n")
    (folder / "nolabel.csv").write_text("path,Edema\nset/images/00000001_000.png,1\nset/images/00000002_000.png,0\n")
    (folder / "badlabel.csv").write_text("path,label:Effusion\nset/images/00000001_000.png,maybe\n")
    (folder / "oneclass.csv").write_text(
        "path,Effusion,patient\n" + "".join(f"set/images/0000000{i}_000.png,1,{i}\n" for i in range(1, 9))
    )
    (folder / "cut.tsv").write_bytes((chain / "ig.tsv").read_bytes()[:-9])
    (folder / "ties.csv").write_text("query,rater,rank,id\nq,R1,1,a\nq,R1,1,b\n")
    (folder / "words.tsv").write_text("file\tmetric\tn\tmean\tmin\tmax\tsd\trandom\nx\tndcg@4\t1\tgood\t\t\t\t\n")
    (folder / "values.json").write_text('{"file": "x", "metric": "ndcg@4", "mean": 0.5, "queries": [{"value": "x"}]}\n')
    (folder / "strange.toml").write_text('labels = ["Effusion"]\nflavour = "sweet"\n')
    return folder


def flipped(path):
    """The bytes of an artifact with one of its vectors' changed."""
    with h5py.File(path) as file:
        offset = file["X"].id.get_offset()
    data = bytearray(path.read_bytes())
    data[offset + 7] ^= 1
    return bytes(data)


LINES = [
    # The command line is wrong: 2.
    (["frobnicate"], 2, "cbir: unknown command 'frobnicate': known: train, "),
    (["quary"], 2, "cbir: unknown command 'quary': did you mean query? known: "),
    (["--frob"], 2, "cbir: unknown option '--frob': known: "),
    (["embed", "--xyzzy"], 2, "cbir embed: No such option: --xyzzy (see cbir embed --help)"),
    (["query"], 2, "cbir query: Missing argument 'IDX'. (see cbir query --help)"),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "extra"], 2, "cbir query: Got unexpected extra argument"),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "0"], 2, "cbir query: Invalid value for '-k'"),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "-k", "many"], 2, "cbir query: Invalid value for '-k'"),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "--format", "xml"], 2, "cbir query: Invalid value for '--format'"),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "--split", "split.tsv", "--include-same"], 2,
     "cbir query: --include-same does not go with --split"),
    (["query", "-", "-"], 2, "cbir query: - is standard input: it can stand for one input only"),
    (["explain", "-", "-"], 2, "cbir explain: - is standard input: it can stand for one input only"),
    (["merge", "-", "-"], 2, "cbir merge: - is standard input: it can stand for one input only"),
    (["evaluate", "-", "--raters", "-"], 2, "cbir evaluate: - is standard input: it can stand for one input only"),
    (["report", "-", "--raters", "-"], 2, "cbir report: - is standard input: it can stand for one input only"),
    (["info", "-", "-"], 2, "cbir info: - is standard input: it can stand for one input only"),
    (["verify", "-", "-"], 2, "cbir verify: - is standard input: it can stand for one input only"),
    (["embed", "-m", "cnn.h5"], 2, "cbir embed: no images: give SOURCE (a folder, an image, a manifest, READER:ROOT"),
    (["embed", "nih:set"], 2, "cbir embed: no model: give -m FILE, set CBIR_MODEL, or have ./model.h5"),
    (["embed", "-m", "cnn.h5", "nih:set", "-o", ""], 2, "cbir embed: -o: expected the name of a file"),
    (["embed", "-m", "cnn.h5", "nix:set"], 2, "cbir embed: unknown reader (and nix:set is no file) 'nix'"),
    (["embed", "-m", "cnn.h5", "nih:set", "--shard", "0/3"], 2, "cbir embed: --shard 0/3: expected I/N"),
    (["embed", "-m", "cnn.h5", "nih:set", "--shard", "4/3"], 2, "cbir embed: --shard 4/3: expected I/N"),
    (["embed", "-m", "cnn.h5", "nih:set", "--image-size", "64"], 2, "cbir embed: cnn.h5: was trained at 32 px"),
    (["embed", "-m", "cnn.h5", "nih:set", "--patient", "p"], 2, "cbir embed: set: the data set nih states"),
    (["embed", "-m", "cnn.h5", "set/images", "--patient", "("], 2, "cbir embed: patient pattern '(': "),
    (["embed", "-m", "cnn.h5", "maps.h5", "--shard", "1/2"], 2, "cbir embed: a maps artifact goes with a cbir model"),
    (["embed", "-m", "ssim", "maps.h5"], 2, "cbir embed: a maps artifact goes with a cbir model"),
    (["embed", "-m", "ig.h5", "held.maps.h5"], 1, "cbir embed: held.maps.h5: no such file or folder"),
    (["index", "cnn.emb.h5", "--kind", "tree"], 2, "cbir index: unknown index kind 'tree': known: community, exact,"),
    (["index", "cnn.emb.h5", "--set", "leaves=3"], 2, "cbir index: unknown parameter of index kind exact 'leaves'"),
    (["saliency", "-m", "cnn.h5", "nih:set", "--method", "deep"], 2, "cbir saliency: unknown saliency method 'deep'"),
    (["saliency", "-m", "cnn.h5", "nih:set", "--set", "begin=1"], 2,
     "cbir saliency: unknown parameter of saliency method deep-taylor 'begin': known: "),
    (["saliency", "-m", "cnn.h5", "nih:set", "--set", "start"], 2, "cbir saliency: --set start: expected KEY=VALUE"),
    (["saliency", "-m", "ssim", "nih:set"], 2, "cbir saliency: -m ssim: expected a model that cbir train"),
    (["finetune-ig", "-m", "imagenet", "maps.h5"], 2, "cbir finetune-ig: -m imagenet: expected a model that"),
    (["train", "nih:set"], 2, "cbir train: no task: give --task NAME (chexpert, covid, isic, "),
    (["train", "nih:set", "--task", "plural"], 2, "cbir train: unknown task 'plural': did you mean pleural? known: "),
    (["train", "nih:set", "--task", "none.toml"], 2, "cbir train: none.toml: the task cannot be read: No such file"),
    (["train", "nih:set", "--task", "strange.toml"], 2, "cbir train: strange.toml: unknown key of the task 'flavour'"),
    ([*TRAIN, "--set", "speed=3"], 2, "cbir train: unknown parameter of task pleural 'speed': known: labels, "),
    ([*TRAIN, "--set", "lr=fast"], 2, "cbir train: --set lr=fast: expected a number, found 'fast'"),
    ([*TRAIN, "--set", "optimizer=lion"], 2, "cbir train: unknown optimizer 'lion'"),
    ([*TRAIN, "--seed", "-1"], 2, "cbir train: Invalid value for '--seed'"),
    (["split", "nih:set", "--task", "pleural", "--seeds", "1,2,1"], 2, "cbir split: --seeds 1,2,1: a number is"),
    ([*TRAIN, "--batch-size", "1"], 2, "cbir train: Invalid value for '--batch-size'"),
    (["finetune-ig", "-m", "cnn.h5", "maps.h5", "-o", "cnn.h5"], 2, "cbir finetune-ig: -o cnn.h5: is one of the in"),
    (["saliency", "-m", "cnn.h5", "nih:set", "-o", "cnn.h5"], 2, "cbir saliency: -o cnn.h5: is one of the inputs"),
    (["embed", "-m", "cnn.h5", "set/images", "-o", "set/images/00000001_000.png"], 2, "cbir embed: -o set/images/"),
    (["report", "ex.h5", "-o", "ex.h5"], 2, "cbir report: -o ex.h5: is one of the inputs"),
    (["saliency", "-m", "flipped.h5", "nih:set"], 1, "cbir saliency: flipped.h5: damaged: its bytes are not those"),
    (["finetune-ig", "-m", "ig.h5", "maps.h5", "-o", "x.h5"], 2, "cbir finetune-ig: maps.h5: made by another network"),
    (["evaluate", "ig.tsv", "--metrics", "ngcd@4"], 2, "cbir evaluate: unknown metric 'ngcd'"),
    (["evaluate", "ig.tsv", "--metrics", "auroc"], 2, "cbir evaluate: ig.tsv: a run is scored by ranking metrics"),
    (["evaluate", "cnn.emb.h5", "--metrics", "p@5"], 2, "cbir evaluate: cnn.emb.h5: an embedding is scored by "),
    (["evaluate", "ssim.emb.h5"], 2, "cbir evaluate: ssim.emb.h5: its model does not classify one finding"),
    (["evaluate", "ig.tsv", "--raters", "ranks.csv", "--rater", "R9"], 2, "cbir evaluate: "),
    (["explain", "cnn.idx.h5", "cnn.emb.h5", "--method", "why"], 2, "cbir explain: unknown similarity method 'why'"),
    (["report", "ex.h5", "--label", "Edemaa"], 2, "cbir report: unknown label 'Edemaa': "),
    (["split", "nih:set"], 2, "cbir split: which label makes the classes? give --task or --label; there are: "),
    (["split", "nih:set", "--task", "pleural", "--label", "Edema"], 2, "cbir split: --task and --label both"),
    (["split", "nih:set", "--task", "pleural", "--seeds", "1,x"], 2, "cbir split: --seeds 1,x: expected whole numbers"),
    (["phantom", "new", "--kind", "knee"], 2, "cbir phantom: unknown kind of phantom 'knee': known: chest"),
    # The data, a file or the machine is wrong: 1.
    (["embed", "-m", "cnn.h5", "empty"], 1, "cbir embed: empty: holds no images that can be read"),
    (["embed", "-m", "cnn.h5", "gone"], 1, "cbir embed: gone: no such file or folder"),
    (["embed", "-m", "cnn.h5", "nih:gone"], 1, "cbir embed: gone: no such file or folder"),
    (["embed", "-m", "cnn.h5", "nih:empty"], 1, "cbir embed: empty: expected a table Data_Entry_2017*.csv, found none"),
    (["embed", "-m", "cnn.h5", "nopath.csv"], 1, "cbir embed: nopath.csv: "),
    (["embed", "-m", "cnn.h5", "badlabel.csv"], 1, "cbir embed: badlabel.csv"),
    (["embed", "-m", "gone.h5", "nih:set"], 1, "cbir embed: gone.h5: no such file"),
    (["embed", "-m", "set", "nih:set"], 1, "cbir embed: set: is a directory, not an artifact"),
    (["embed", "-m", "maps.h5", "nih:set"], 1, "cbir embed: maps.h5: expected a cbir-model artifact, found "),
    (["embed", "-m", "cnn.h5", "cnn.h5"], 1, "cbir embed: cnn.h5: expected a cbir-saliency artifact, found cbir-model"),
    (["embed", "-m", "cnn.h5", "nih:set", "-o", "set"], 1, "cbir embed: set: is a directory"),
    (["embed", "-m", "cnn.h5", "nih:set", "-o", "no/x.h5"], 1, "cbir embed: no/x.h5: the folder no does not exist"),
    (["index", "cnn.h5"], 1, "cbir index: cnn.h5: expected a cbir-embedding or cbir-index artifact, found"),
    (["query", "maps.h5", "cnn.emb.h5"], 1, "cbir query: maps.h5: expected a cbir-index artifact, found cbir-saliency"),
    (["query", "cnn.idx.h5", "maps.h5"], 1, "cbir query: maps.h5: expected a cbir-embedding or cbir-index artifact"),
    (["query", "gone.h5", "cnn.emb.h5"], 1, "cbir query: gone.h5: no such file"),
    (["query", "nothing.h5", "cnn.emb.h5"], 1, "cbir query: nothing.h5: is empty"),
    (["query", "text.h5", "cnn.emb.h5"], 1, "cbir query: text.h5: is not an HDF5 file"),
    (["query", "half.h5", "cnn.emb.h5"], 1, "cbir query: half.h5: is truncated"),
    (["query", "other.h5", "cnn.emb.h5"], 1, "cbir query: other.h5: expected a cbir-index artifact, found another "),
    (["query", "cnn.idx.h5", "cnn.emb.h5", "--split", "ranks.csv"], 1, "cbir query: ranks.csv, line 1: expected the "),
    (["query", "ssim.idx.h5", "set/images", "-m", "cnn.h5"], 1, "cbir query: cnn.h5: another model than the index was"),
    (["verify", "flipped.h5"], 1, "cbir verify: flipped.h5: damaged: its bytes are not those that were written"),
    (["verify", "text.h5"], 1, "cbir verify: text.h5: is not an HDF5 file"),
    (["info", "half.h5"], 1, "cbir info: half.h5: is truncated"),
    (["merge", "cnn.emb.h5"], 1, "cbir merge: cnn.emb.h5: is whole, not a shard"),
    (["train", "--task", "pleural", "set/images", *TRAINING], 1, "cbir train: task pleural: the source has no label"),
    (["train", "--task", "pleural", "nolabel.csv", *TRAINING], 1,
     "cbir train: task pleural: the source has no label 'Pleural Effusion' or 'Effusion' or 'pleural_effusion'; it "),
    (["train", "--task", "pleural", "oneclass.csv", *TRAINING], 1, "cbir train: "),
    ([*TRAIN, "--init", "gone.pth"], 1, "cbir train: --init gone.pth: no such file; expected a weights file, "),
    ([*TRAIN, "--init", "maps.h5"], 1, "cbir train: maps.h5: expected a cbir-model artifact, found cbir-saliency"),
    ([*TRAIN, "--init", "text.h5"], 1, "cbir train: text.h5: "),
    (["finetune-ig", "-m", "cnn.h5", "cnn.emb.h5"], 1, "cbir finetune-ig: cnn.emb.h5: expected a cbir-saliency "),
    (["evaluate", "set"], 1, "cbir evaluate: set: cannot be read: Is a directory"),
    (["evaluate", "gone.tsv"], 1, "cbir evaluate: gone.tsv: cannot be read: No such file or directory"),
    (["evaluate", "split.tsv"], 1, "cbir evaluate: split.tsv"),
    (["evaluate", "cut.tsv"], 1, "cbir evaluate: cut.tsv, line "),
    (["evaluate", "ig.tsv", "--raters", "ties.csv"], 1, "cbir evaluate: ties.csv, line 3: rater R1 gives rank 1"),
    (["explain", "ig.idx.h5", "ig.emb.h5", "--root", "empty"], 1,
     "cbir explain: empty/images/"),
    (["explain", "ssim.idx.h5", "ssim.emb.h5", "--method", "ig", "-k", "1"], 2, "cbir explain: ssim has no saliency"),
    (["report", "split.tsv"], 1, "cbir report: split.tsv: expected a score table of cbir evaluate"),
    (["report", "split.tsv"], 1, "cbir report: split.tsv: expected a score table of cbir evaluate"),
    (["report", "words.tsv"], 1, "cbir report: words.tsv: expected a score table of cbir evaluate"),
    (["report", "values.json"], 1, "cbir report: values.json: expected a score table of cbir evaluate"),
    (["phantom", "set", "--rank", "ranks.csv"], 1, "cbir phantom: ranks.csv: lacks the column"),
    (["phantom", "set", "--rank", "cnn.h5"], 1, "cbir phantom: cnn.h5: expected a split table"),
    (["report", "gone.tsv"], 1, "cbir report: gone.tsv: No such file or directory"),
    (["split", "cnn.h5", "--task", "pleural"], 1, "cbir split: cnn.h5: cbir-model lists no images"),
    (["split", "nih:set", "--task", "pleural", "--catalogue", "500"], 1, "cbir split: "),
    (["phantom", "set"], 1, "cbir phantom: set: expected a new or empty directory"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "status", "message"), LINES, ids=lambda v: " ".join(v) if isinstance(v, list) else ""
)
def test_one_line(cbir, bad, arguments, status, message):
    before = sorted(os.listdir(bad))
    ran = cbir(*arguments, *(["-q"] if arguments[0] in COMMANDS else []), cwd=bad)
    assert ran.status == status, ran.err
    assert ran.data == b""
    assert ran.error.startswith(message)
    assert sorted(os.listdir(bad)) == before


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("mining=some", "unknown mining 'some': known: batch-all, batch-hard"),
        ("margin=-1", "margin=-1.0: expected a number above 0"),
    ],
)
def test_what_the_loss_does_not_take_is_refused_before_images_are_read(cbir, bad, tmp_path, setting, message):
    choices = [*TRAINING, "--set", "objective=triplet", "--set", "class_weights=none", "--set", "selection=last"]
    line = ["train", "--task", "pleural", "broken", *choices, "--set", setting, "-o", tmp_path / "m.h5"]
    ran = cbir(*line, cwd=bad)
    assert (ran.status, ran.err) == (2, f"broken: read as directory\ncbir train: {message}\n")


def test_debug_shows_where(cbir, bad):
    for line in (["query", "text.h5", "cnn.emb.h5"], ["embed", "--frob"], ["train", "nih:set"]):
        plain, traced = cbir(*line, cwd=bad), cbir(*line, "--debug", cwd=bad)
        assert plain.status == traced.status
        assert "Traceback" in traced.err and traced.err.splitlines()[-1] == plain.error
        assert "Traceback" in cbir(*line, CBIR_DEBUG="1", cwd=bad).err


def test_what_was_not_foreseen_is_one_line_too(cbir, bad, monkeypatch):
    from cbir_cli.stages import query

    def broken(*_, **__):
        raise ZeroDivisionError("two\nlines")

    monkeypatch.setattr(query, "search", broken)
    ran = cbir("query", "cnn.idx.h5", "cnn.emb.h5", cwd=bad)
    assert ran.status == 1
    assert ran.error == (
        "cbir query: internal error: ZeroDivisionError: two lines (--debug shows where; please report it)"
    )


def test_too_little_memory(cbir, bad, monkeypatch):
    from cbir_cli.stages import query

    def greedy(*_, **__):
        raise MemoryError

    monkeypatch.setattr(query, "search", greedy)
    ran = cbir("query", "cnn.idx.h5", "cnn.emb.h5", cwd=bad)
    assert (ran.status, ran.error) == (1, "cbir query: out of memory; try a smaller --batch-size")


UNREADABLE = {"cut.jpg", "cut.png", "empty.png", "text.png"}
STREAMS = {
    "embed": ["embed", "-m", "cnn.h5", "mixed"],
    "saliency": ["saliency", "-m", "cnn.h5", "mixed"],
    "query": ["query", "cnn.idx.h5", "mixed", "-k", "1"],
    "explain": ["explain", "cnn.idx.h5", "mixed", "-k", "1"],
}


@pytest.mark.parametrize("command", STREAMS)
def test_unreadable_images_are_named_and_passed_over(cbir, bad, tmp_path, command):
    report = cbir(*STREAMS[command], cwd=bad)
    skip = cbir(*STREAMS[command], "--on-error", "skip", cwd=bad)
    fail = cbir(*STREAMS[command], "--on-error", "fail", "-q", cwd=bad)
    assert (report.status, skip.status, fail.status) == (3, 0, 1)
    assert report.data == skip.data and fail.data == b""
    assert set(re.findall(r"^warning: (\S+): ", report.err, re.MULTILINE)) == UNREADABLE
    assert "warning: 4 images could not be read" in report.err
    assert fail.error.startswith(f"cbir {command}: cut.jpg: ")


@pytest.mark.parametrize("command", ["embed", "saliency"])
def test_unreadable_images_are_listed_in_the_artifact(cbir, bad, tmp_path, command):
    out = tmp_path / "out.h5"
    ran = cbir(*STREAMS[command], "-o", out, cwd=bad)
    assert ran.status == 3
    with h5py.File(out) as file:
        group = file["unreadable"] if command == "saliency" else file["uns/unreadable"]
        reasons = dict(zip(group["id"].asstr()[()], group["reason"].asstr()[()], strict=True))
        assert set(reasons) == {"cut.jpg", "cut.png", "empty", "text"} and all(reasons.values())
        assert [key.decode() for key in file["obs/_index"][()]] == [f"0000000{i}_000" for i in (1, 2, 3)]


def test_an_unreadable_image_is_named_with_its_folder(cbir, bad, tmp_path):
    """Many data sets call all their images alike."""
    for number in (1, 2):
        (tmp_path / f"patient{number}/study1").mkdir(parents=True)
        (tmp_path / f"patient{number}/study1/view1_frontal.png").write_text("no image")
    ran = cbir("embed", "-m", bad / "cnn.h5", tmp_path, "-q", cwd=bad)
    assert "patient1/study1/view1_frontal.png: " in ran.err and "patient2/study1/view1_frontal.png: " in ran.err


@pytest.mark.parametrize("command", ["embed", "saliency", "query"])
def test_nothing_but_unreadable_images(cbir, good, bad, tmp_path, command):
    line = [{"mixed": "broken"}.get(word, word) for word in STREAMS[command]]
    ran = cbir(*line, cwd=bad)
    assert (ran.status, ran.data) == (1, b"") and "Traceback" not in ran.err
    assert ran.err.splitlines()[-1] == f"cbir {command}: none of 4 images can be read"
    if command != "query":
        assert cbir(*line, "-o", tmp_path / "out.h5", cwd=bad).status == 1
        assert not list(tmp_path.iterdir())


def test_training_on_nothing_but_unreadable_images(cbir, bad, tmp_path):
    (tmp_path / "m.csv").write_text("path,Effusion,patient\nno.png,1,a\nnone.png,0,b\n")
    for name in ("no.png", "none.png"):
        (tmp_path / name).write_text("no image")
    ran = cbir("train", "--task", "pleural", "m.csv", *TRAINING, "-o", "m.h5", cwd=tmp_path)
    assert ran.status == 1 and ran.err.splitlines()[-1] == "cbir train: none of 2 images can be read"
    assert not (tmp_path / "m.h5").exists()


@pytest.mark.parametrize("command", ["embed", "saliency", "query", "explain"])
@pytest.mark.parametrize("way", ["list", "manifest"])
def test_images_that_are_not_there_are_unreadable(cbir, bad, command, way):
    there = ["set/images/00000001_000.png", "set/images/00000002_000.png"]
    lines = [*there, "set/gone.png"]
    (bad / "some.csv").write_text("\n".join(["path", *lines]) + "\n")
    source, given = ("-", {"stdin": "\n".join(lines).encode()}) if way == "list" else ("some.csv", {})
    line = [{"mixed": source}.get(word, word) for word in STREAMS[command]]
    ran = cbir(*line, cwd=bad, **given)
    assert ran.status == 3 and "warning: set/gone.png: No such file or directory" in ran.err
    assert "warning: 1 image could not be read" in ran.err
    assert cbir(*line, "--on-error", "skip", cwd=bad, **given).status == 0
    failed = cbir(*line, "--on-error", "fail", "-q", cwd=bad, **given)
    assert failed.status == 1 and failed.error == f"cbir {command}: set/gone.png: No such file or directory"


def test_a_split_leaves_out_what_is_not_there(cbir, bad):
    rows = [f"set/images/0000000{i}_000.png,p{i},1" for i in (1, 2, 3)] + ["set/gone.png,p4,1"]
    (bad / "three.csv").write_text("\n".join(["path,patient,Mass", *rows]) + "\n")
    ran = cbir("split", "three.csv", "--label", "Mass", "--validation", "0", cwd=bad)
    assert ran.status == 0 and "gone" not in ran.out
    assert "missing file: set/gone.png" in ran.err


def test_training_passes_over_what_it_cannot_read(cbir, bad, tmp_path):
    rows = [f"set/images/0000000{i}_000.png,{i % 2},p{i}" for i in range(1, 9)] + ["broken/text.png,1,p9"]
    (bad / "train.csv").write_text("path,Effusion,patient\n" + "\n".join(rows) + "\n")
    line = ["train", "--task", "pleural", "train.csv", *TRAINING, "--epochs", "1", "-o", tmp_path / "m.h5"]
    ran = cbir(*line, cwd=bad)
    assert ran.status == 3 and "warning: broken/text.png: not a DICOM" in ran.err
    assert cbir(*line, "--on-error", "skip", cwd=bad).status == 0
    (tmp_path / "m.h5").unlink()
    ran = cbir(*line, "--on-error", "fail", "-q", cwd=bad)
    assert ran.status == 1 and "text.png" in ran.error
    assert not list(tmp_path.iterdir())
    (bad / "train.csv").unlink()


FAILING = {
    "embed": ["embed", "-m", "cnn.h5", "mixed", "--on-error", "fail"],
    "saliency": ["saliency", "-m", "cnn.h5", "mixed", "--on-error", "fail"],
    "index": ["index", "half.h5"],
    "merge": ["merge", "cnn.emb.h5"],
    "explain": ["explain", "ig.idx.h5", "ig.emb.h5", "--root", "empty"],
    "report": ["report", "split.tsv"],
    "train": ["train", "--task", "pleural", "nolabel.csv", *TRAINING],
    "finetune-ig": ["finetune-ig", "-m", "ig.h5", "maps.h5"],
}


@pytest.mark.parametrize("command", FAILING)
def test_the_old_output_stays(cbir, bad, tmp_path, command):
    out = tmp_path / "old"
    out.write_bytes(b"the good result of yesterday")
    ran = cbir(*FAILING[command], "-o", out, "-q", cwd=bad)
    assert ran.status in (1, 2) and ran.error
    assert out.read_bytes() == b"the good result of yesterday"
    left = {path.name for path in tmp_path.iterdir()} - {"old"}
    assert left <= {"old.partial"}  # unfinished rows, for --resume


def test_a_folder_of_the_user_is_not_removed(cbir, bad, tmp_path):
    (tmp_path / "x.h5.partial").mkdir()
    (tmp_path / "x.h5.partial/thesis.txt").write_text("the only copy")
    ran = cbir("embed", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "x.h5", "-q", cwd=bad)
    assert ran.status == 1 and "x.h5.partial: is in the way of the unfinished rows" in ran.error
    assert (tmp_path / "x.h5.partial/thesis.txt").read_text() == "the only copy"


@pytest.mark.parametrize("cut", [9, 600, 2048, 30_000, -1])
@pytest.mark.parametrize("name", ["cnn.h5", "maps.h5", "cnn.idx.h5", "ex.h5"])
def test_cut_artifacts(cbir, bad, tmp_path, name, cut):
    data = (bad / name).read_bytes()[:cut]
    (tmp_path / "cut.h5").write_bytes(data)
    users = {
        "cnn.h5": ["embed", "-m", tmp_path / "cut.h5", "nih:set"],
        "maps.h5": ["embed", "-m", "cnn.h5", tmp_path / "cut.h5"],
        "cnn.idx.h5": ["query", tmp_path / "cut.h5", "cnn.emb.h5"],
        "ex.h5": ["report", tmp_path / "cut.h5"],
    }
    for line in (users[name], ["info", tmp_path / "cut.h5"], ["verify", tmp_path / "cut.h5"]):
        ran = cbir(*line, "-q", cwd=bad)
        assert (ran.status, ran.data) == (1, b"") and "cut.h5" in ran.error


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_that_cannot_be_written(cbir, bad, tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    ran = cbir("embed", "-m", "cnn.h5", "nih:set", "-o", tmp_path / "locked/x.h5", cwd=bad)
    assert ran.status == 1 and "locked cannot be written" in ran.error
