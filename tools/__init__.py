"""Programs that make what the app ships; the app itself never imports them."""
