"""Everybody's pictures: files, and the rows that find them.

gallery.py: what is asked of it. search.py: which pictures. files.py: what lies in the folders.
upkeep.py: rows that follow the files, limits. thumbnails.py, archive.py: small pictures, zips.
rebuilding.py: the rows anew. jobs_by_name.py: which job a file is of.
"""

from sdgen.gallery.files import free_bytes
from sdgen.gallery.gallery import Gallery
from sdgen.gallery.rebuilding import Rebuilt, rebuild
from sdgen.gallery.search import Found, Search

__all__ = ["Found", "Gallery", "Rebuilt", "Search", "free_bytes", "rebuild"]
