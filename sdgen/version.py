"""The version of sdgen, alone in a file so that packaging reads it without an import."""

VERSION = "0.1.0"
