import os
import subprocess
import sys

from gpuwatch_agent.sampling.breadcrumbs import Blame, Breadcrumbs

NAMES = ("activity", "power", "profile")


def test_marks_survive_the_process_that_made_them() -> None:
    """What a child was reading when it died by a signal is seen by its parent."""
    fd = Breadcrumbs.create()
    crumbs = Breadcrumbs(fd, NAMES)
    script = (
        "import os, signal, sys\n"
        "from gpuwatch_agent.sampling.breadcrumbs import Breadcrumbs\n"
        f"crumbs = Breadcrumbs(int(sys.argv[1]), {NAMES!r})\n"
        "crumbs.mark(0, 'activity'); crumbs.clear(0); crumbs.mark(3, 'profile')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(fd)], pass_fds=(fd,), check=False)
    assert done.returncode == -9
    assert crumbs.blames() == [Blame(3, "profile")]
    crumbs.close()
    os.close(fd)


def test_a_reading_that_ended_leaves_no_mark() -> None:
    """Nobody is blamed for what is over."""
    fd = Breadcrumbs.create()
    crumbs = Breadcrumbs(fd, NAMES)
    crumbs.mark(1, "power")
    crumbs.clear(1)
    assert crumbs.blames() == []
    crumbs.close()
    os.close(fd)


def test_marks_outside_the_memory_are_ignored() -> None:
    """A 300th GPU or an unknown collector must not break the sampler."""
    fd = Breadcrumbs.create()
    crumbs = Breadcrumbs(fd, NAMES)
    crumbs.mark(300, "power")
    crumbs.mark(0, "unheard of")
    crumbs.clear(300)
    assert crumbs.blames() == []
    crumbs.close()
    os.close(fd)
