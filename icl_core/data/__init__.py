"""From rows on the Hub or on disk to prompts and joint token ids; models are not known here."""
