"""The demo: a small model written twice, and mistakes to put into it."""

# The functions that make the demo's models again, as its captures name them. They are code of this
# program, so a capture that names them may have them run unasked.
REFERENCE_FACTORY = "layertui.capture.demo.factories:reference"
CANDIDATE_FACTORY = "layertui.capture.demo.factories:candidate"
