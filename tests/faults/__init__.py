"""Real processes and real files, and what goes wrong with them.

disk.c, disk.py: a disk that fails or a process that dies at its n-th write. life.py: what an app
does all day. victim.py: lives one such day after the other, each ended by kill -9. writes.py: every
write fails once. checks.py: what must hold of a data folder whatever happened.
"""
