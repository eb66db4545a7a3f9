import pytest


# before the fixtures of a module, some of which train
@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """On busy cores the threads of small operations wait for each other most of the time."""
    torch = pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
