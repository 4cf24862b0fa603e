"""/dev/net/tun: the generated bindings, and errors that say what is missing."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.descriptors import held
from support.realnet import device_name, missing

from pysock.core.kernel import Kernel
from pysock.drivers.tap import build_ffi, chardev
from pysock.drivers.tap.chardev import TunQueue

forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
needs_tun = pytest.mark.skipif(bool(missing()), reason=f"TAP: {missing()}")


def test_the_bindings_are_what_their_source_says() -> None:
    assert build_ffi.TARGET.read_text(encoding="utf-8") == build_ffi.generate()


def test_no_device_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(chardev, "PATH", str(tmp_path / "tun"))
    with pytest.raises(FileNotFoundError, match="modprobe tun"):
        TunQueue("psk0")


def test_a_device_file_that_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tun").write_bytes(b"")
    monkeypatch.setattr(chardev, "PATH", str(tmp_path / "tun"))
    before = held()
    with pytest.raises(OSError, match="ioctl") as failure:
        TunQueue("psk0")
    assert failure.value.errno == errno.ENOTTY
    assert held() <= before


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EPERM, "sudo ip tuntap add dev psk0 mode tun user"),
        (errno.EBUSY, "another process has it open"),
        (errno.EINVAL, "of another kind"),
        (errno.ENOMEM, os.strerror(errno.ENOMEM)),
    ],
)
def test_what_is_missing(number: int, words: str) -> None:
    text = chardev._attach_text(number, "psk0", "tun", False)
    assert "TUN device 'psk0'" in text
    assert words in text


@needs_tun
def test_a_name_that_is_in_use() -> None:
    name = device_name()
    first = TunQueue(name)
    try:
        with pytest.raises(OSError, match="another process has it open") as failure:
            TunQueue(name)
        assert failure.value.errno == errno.EBUSY
    finally:
        first.close()
    TunQueue(name).close()  # free again at once


@needs_tun
def test_a_name_that_is_too_long() -> None:
    with pytest.raises(OSError, match="too long") as failure:
        TunQueue("x" * 16)
    assert failure.value.errno == errno.EINVAL


@needs_tun
def test_the_kernel_chooses_a_name() -> None:
    queue = TunQueue(None, mode="tun")
    try:
        assert queue.name.startswith("tun")
        assert Path(f"/sys/class/net/{queue.name}").exists()
        assert not os.get_blocking(queue.fd)
        assert not os.get_inheritable(queue.fd)
    finally:
        queue.close()


@pytest.fixture
def open_to_all(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A /dev/net/tun that everybody may open, as on most systems."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        path = os.path.join(folder, "tun")
        try:
            os.mknod(path, stat.S_IFCHR, os.stat(chardev.PATH).st_rdev)
            os.chmod(path, 0o666)
            os.close(os.open(path, os.O_RDWR))
        except OSError as exc:
            pytest.skip(f"TAP: no device file of our own: {exc}")
        monkeypatch.setattr(chardev, "PATH", path)
        yield


@needs_tun
@forks
def test_a_persistent_device_belongs_to_its_owner(open_to_all: None) -> None:
    """Without root, a device of one's own can be attached to, and no other can be made."""
    name = device_name()
    queue = TunQueue(name)
    queue.set_owner(65534)
    queue.set_persist(True)
    queue.close()
    try:
        child = os.fork()
        if not child:
            status = 1
            try:
                os.setgroups([])
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
                TunQueue(name).close()
                status = 2
                TunQueue(name + "x")
            except OSError as exc:
                if status == 2 and exc.errno == errno.EPERM:
                    status = 0
            finally:
                os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert not status
    finally:
        queue = TunQueue(name)
        queue.set_persist(False)
        queue.close()
    assert not Path(f"/sys/class/net/{name}").exists()


@needs_tun
@forks
def test_a_forked_child_lets_go() -> None:
    """Or the device would live as long as the child."""
    name = device_name()
    queue = TunQueue(name)
    child = os.fork()
    if not child:
        os._exit(0 if queue.fd == -1 else 1)
    assert not os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert queue.fd >= 0
    queue.close()


def test_virtual_time_has_no_place_for_it() -> None:
    kernel = Kernel.boot(clock="virtual", entry_points=False)
    with pytest.raises(OSError, match="clock='real'") as failure:
        kernel.dev_layer.create_device(kernel.init_net, "tap")
    assert failure.value.errno == errno.EINVAL


@pytest.mark.parametrize(
    "options", [{"colour": 1}, {"mode": "bridge"}, {"tap": 7}, {"persist": "yes"}, {"owner": "root"}]
)
def test_bad_options(options: dict[str, object]) -> None:
    kernel = Kernel.boot(entry_points=False)
    with pytest.raises(OSError) as failure:
        kernel.dev_layer.create_device(kernel.init_net, "tap", **options)
    assert failure.value.errno == errno.EINVAL


def test_a_boot_does_not_import_cffi() -> None:
    code = "import sys; from pysock.core.kernel import Kernel; Kernel.boot(); print('_cffi_backend' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
