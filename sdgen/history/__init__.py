"""Jobs and pictures as rows of SQLite. The data folder's pictures are the truth; see sdgen.gallery.

rows.py: the values. history.py: what is asked of them. database.py: the file. migrations.py: its
tables. columns.py: values as SQL. salvage.py: a new file in the place of a damaged one.
"""

from sdgen.history.database import NO_ROOM_SENTENCE
from sdgen.history.history import History
from sdgen.history.rows import JobRow, JobState, Leave, PictureKind, PictureRow

__all__ = [
    "NO_ROOM_SENTENCE",
    "History",
    "JobRow",
    "JobState",
    "Leave",
    "PictureKind",
    "PictureRow",
]
