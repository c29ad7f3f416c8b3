"""The command line: reads flags and files, makes a plan and hands it over. No protocol in here."""
