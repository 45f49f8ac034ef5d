"""Drawing shared by the pages: charts, selection widgets, cached reads; no arithmetic of its own."""
