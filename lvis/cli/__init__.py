"""What every command needs: its configuration, its command line, its help page, its progress bar."""
