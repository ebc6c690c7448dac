"""A network of a point's own: who is in it, who receives, and that nothing of it is left."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from experiment.host import CannotSteer, Network, ShapeRefused, cannot_steer, usable_cpus
from experiment.host.network import cpus_of, mask_of

CPU = max(usable_cpus())
SEEN = "import os; print(os.readlink('/proc/self/ns/net'), open('/proc/sys/net/core/somaxconn').read())"
REFUSED = cannot_steer({CPU})
can_steer = pytest.mark.skipif(REFUSED is not None, reason=f"receiving cannot be steered here: {REFUSED}")


@pytest.mark.parametrize(
    ("cpus", "mask"),
    [({0}, "1"), ({1, 3}, "a"), ({32}, "1,00000000"), ({1, 33}, "2,00000002"), ({127}, "80000000" + 3 * ",00000000")],
)
def test_a_mask_of_cpus_goes_there_and_back(cpus: set[int], mask: str) -> None:
    assert mask_of(cpus) == mask
    assert cpus_of(mask) == cpus
    assert cpus_of(f"00000000,{mask}") == cpus


@can_steer
def test_who_enters_is_in_it_and_nobody_else() -> None:
    mine = os.readlink("/proc/self/ns/net")
    backlog = Path("/proc/sys/net/core/somaxconn").read_text().strip()
    network = Network({CPU})
    try:
        assert cpus_of(network.mask) == {CPU}
        with network.entered(), socket.create_server(("127.0.0.1", 0)) as inside:
            name = os.readlink("/proc/thread-self/ns/net")
            seen = subprocess.run(
                [sys.executable, "-c", SEEN], capture_output=True, text=True, check=True
            ).stdout.split()
            socket.create_connection(inside.getsockname(), timeout=5).close()
            address = inside.getsockname()
            assert name != mine
            assert seen == [name, backlog]  # a child is in it, and what a namespace has of its own is the machine's
        assert os.readlink("/proc/thread-self/ns/net") == mine
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, timeout=5)
        with pytest.raises(ZeroDivisionError), network.entered():
            _ = 1 // 0
        assert os.readlink("/proc/thread-self/ns/net") == mine
    finally:
        network.close()
        network.close()


@can_steer
def test_the_machine_s_own_loopback_stays_as_it_is() -> None:
    own = Path("/sys/class/net/lo/queues/rx-0/rps_cpus")
    mounts = Path("/proc/self/mounts").read_text()
    before = own.read_text()
    Network({CPU}).close()
    assert own.read_text() == before
    assert Path("/proc/self/mounts").read_text() == mounts


@can_steer
def test_cpus_that_there_are_not_are_refused() -> None:
    with pytest.raises(CannotSteer):
        Network({1023})
    assert cannot_steer({1023}) is not None


def test_without_the_rights_the_reason_says_what_it_takes() -> None:
    """As another user, in a process of its own."""
    if os.getuid() != 0:
        pytest.skip("only root can become somebody else")
    code = f"""if True:
        import os
        from experiment.host import cannot_steer
        os.setgid(65534)
        os.setuid(65534)
        print(cannot_steer({{{CPU}}}))
    """
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "unshare: Operation not permitted" in said
    assert "CAP_NET_ADMIN" in said


def test_a_refusal_is_one_of_a_shape() -> None:
    assert issubclass(CannotSteer, ShapeRefused)
