"""Programs that made what sdgen.adapters comes with."""
