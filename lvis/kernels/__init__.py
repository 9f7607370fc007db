"""Exact forms of single operations, chosen by device and processor; imports nothing of lvis."""
