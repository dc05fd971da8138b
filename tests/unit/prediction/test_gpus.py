import pytest

from nnunet_ext.errors import UsageError
from nnunet_ext.jobs.execution import Execution
from nnunet_ext.prediction.run import _on_gpus


@pytest.mark.parametrize(
    ("num_gpus", "n_processes", "expected"),
    [(None, None, 0), (None, 3, 3), (1, None, 0), (2, None, 2), (2, 4, 4)],
)
def test_each_gpu_has_a_process(num_gpus, n_processes, expected):
    execution, device = _on_gpus(Execution(n_processes=n_processes), None, num_gpus)
    assert execution.n_processes == expected
    assert device == (None if num_gpus is None else "cuda")


@pytest.mark.parametrize(
    ("num_gpus", "device", "execution", "message"),
    [
        (0, None, Execution(), "-num_gpus 0 needs a number of 1 or more"),
        (2, "cpu", Execution(), "-num_gpus 2 needs"),
        (2, "cuda", Execution(executor=object()), "no --scheduler"),
        (3, "cuda", Execution(n_processes=2), "-np 2 leaves GPUs of -num_gpus 3 without work"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(num_gpus, device, execution, message):
    with pytest.raises(UsageError, match=message):
        _on_gpus(execution, device, num_gpus)
