"""Colours, fonts and measures of the page: warm paper and ink, in light and dark. No web fonts."""

import gradio as gr

_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """The theme; style.css refines it with the same variables."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.indigo,
        secondary_hue=gr.themes.colors.indigo,
        neutral_hue=gr.themes.colors.stone,
        radius_size=gr.themes.sizes.radius_lg,
        font=_FONT,
        font_mono=_MONO,
    )
    return made.set(
        body_background_fill="#faf7f2",
        body_background_fill_dark="#171412",
        body_text_color="*neutral_900",
        body_text_color_dark="*neutral_100",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        background_fill_primary="#ffffff",
        background_fill_primary_dark="#211d1a",
        background_fill_secondary="#f5f0e8",
        background_fill_secondary_dark="#1c1917",
        border_color_primary="#e7dfd3",
        border_color_primary_dark="#3a342f",
        block_background_fill="*background_fill_primary",
        block_border_width="1px",
        block_shadow="none",
        block_label_background_fill="transparent",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_300",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_title_text_weight="600",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        input_background_fill="#fdfcfa",
        input_background_fill_dark="#191614",
        input_border_color="#d6ccbd",
        input_border_color_dark="#4a433d",
        input_border_color_focus="*primary_500",
        input_border_color_focus_dark="*primary_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        slider_color="*primary_600",
        slider_color_dark="*primary_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_dark="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_background_fill_hover_dark="*primary_700",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#ffffff",
        button_secondary_background_fill="#f0e9de",
        button_secondary_background_fill_dark="#332d29",
        button_secondary_background_fill_hover="#e7dccb",
        button_secondary_background_fill_hover_dark="#403934",
        button_secondary_text_color="*neutral_800",
        button_secondary_text_color_dark="*neutral_100",
        button_cancel_background_fill="#b42318",
        button_cancel_background_fill_dark="#b42318",
        button_cancel_background_fill_hover="#912018",
        button_cancel_background_fill_hover_dark="#912018",
        button_cancel_text_color="#ffffff",
        button_cancel_text_color_dark="#ffffff",
    )
