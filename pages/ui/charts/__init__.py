"""Charts: axes, colours, marks, and the charts that more than one page draws."""
