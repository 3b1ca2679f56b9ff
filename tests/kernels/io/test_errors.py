"""One line for what a user can mend, a traceback for what is ours."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prunekernels.io import errors
from prunekernels.io.errors import one_line, user_errors


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("want a, got b"), "want a, got b"),
        (ValueError("\n\n  want a\nmore\n"), "want a"),
        (ValueError(), "ValueError"),
        (ValueError("a\x1b[2J\u202eb"), "a␛[2J\ufffdb"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a\x1bb"), "a␛b: No such file or directory"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "a", None, "b"), "a -> b: Invalid cross-device link"),
        (OSError(errno.ENOSPC, "No space left on device"), "[Errno 28] No space left on device"),
        (OSError(errno.EBADF, "Bad file descriptor", 3), "3: Bad file descriptor"),
        (BlockingIOError("t is in use"), "t is in use"),
        (MemoryError(), "there is not enough memory"),
        (KeyError("name"), "KeyError: 'name'"),
        (ValueError("x" * 5000), "x" * 999 + "…"),
    ],
)
def test_one_line(error: BaseException, line: str) -> None:
    assert one_line(error) == line


def test_an_error_of_the_machine_names_its_file(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file") as told:
        (tmp_path / "none").read_bytes()
    assert one_line(told.value) == f"{tmp_path / 'none'}: No such file or directory"


@pytest.mark.parametrize(
    ("error", "code"), [(ValueError("a"), 2), (OSError("a"), 2), (ImportError("a"), 2), (KeyboardInterrupt(), 130)]
)
def test_the_users_errors_end_the_process(error: BaseException, code: int) -> None:
    said: list[str] = []
    with pytest.raises(SystemExit) as ended, user_errors(said.append, "stopped"):
        raise error
    assert ended.value.code == code
    assert said == ["stopped" if code == 130 else "a"]


@pytest.mark.parametrize("error", [TypeError("ours"), KeyError("ours"), ZeroDivisionError(), SystemExit(3)])
def test_our_errors_stay(error: BaseException) -> None:
    with pytest.raises(type(error)), user_errors(pytest.fail, "stopped"):
        raise error


CODE = """
import sys; sys.path.insert(0, sys.argv[1])
from prunekernels.io.errors import user_errors
with user_errors(lambda line: print(line, file=sys.stderr), 'stopped'):
    {body}
"""


def _run(body: str, **options: object) -> subprocess.Popen:
    kernels = str(Path(errors.__file__).parents[2])
    command = [sys.executable, "-c", CODE.format(body=body), kernels]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_reader_that_goes_is_no_error() -> None:
    with _run("[print('x' * 100, flush=True) for _ in range(100_000)]") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


def test_ctrl_c_is_one_line() -> None:
    with _run("print('there', flush=True); sys.stdin.read() if 0 else __import__('time').sleep(60)") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == "stopped\n"
        assert process.wait() == 130
