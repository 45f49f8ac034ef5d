"""What the server does around the pages: imports before the first visit, headers, addresses."""
