"""The mark of tests that start a scheduler."""


def pytest_configure(config):
    config.addinivalue_line("markers", "slurm: starts SLURM with two node daemons on this machine (slow)")
