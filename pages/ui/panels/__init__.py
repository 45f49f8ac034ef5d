"""Parts of a screen that pages share: its frame, findings and tables, tabs, jobs and costs, models side by side."""
