"""How the bundled model `picturebook` is made: a drawn world, its training, its evaluation.

Start with `scene.py` (what a scene is) and `world.py` (how it becomes a picture), then follow
the programs in the order of `README.md`.
"""
