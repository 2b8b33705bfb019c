"""The second edition of the bundled model: 512 px, a bigger world. Made beside the first, which is
shipped until this one is better; see `tools/picturebook/README.md`."""
