"""sdgen: a sentence becomes a picture.

Where to start reading: request.py (what is asked), job.py (how far it is), engine.py (how it is
drawn), studio.py (what page, command line and API call). Importing this package imports no torch.
"""

from sdgen.version import VERSION

__all__ = ["VERSION"]
