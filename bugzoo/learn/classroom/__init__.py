"""A class: packs of exercises, graded in sandboxes, scored, reported.

plan       what is asked, week by week     pack    a folder for each learner, seeds from an HMAC
sandbox    runs a submission               child   the process in which it runs
grade      every submission, feedback      report  scores, items, the page
"""
