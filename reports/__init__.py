# bugzoo
"""Tables and pictures, one a file: functions from frame to frame. Nothing here needs torch."""
