"""What the profilers' own formats are made into. Attaching is tested in test_attach."""

from profiles.profilers.kinds import without_processes


def test_py_spy_s_command_lines_are_cut_off() -> None:
    collapsed = (
        'process 1:"py -W error:a;b (c) -m x";process 2:"py -c \'spawn\'";thread (0x5): "loop";run (a.py:1) 3\n'
        'process 1:"py -m x";thread (26);f (b.py:2) 4\n'
        'process 1:"py -m x";g (c.py:3) 5\n'
    )
    assert (
        without_processes(collapsed) == 'thread (0x5): "loop";run (a.py:1) 3\nthread (26);f (b.py:2) 4\ng (c.py:3) 5\n'
    )
