"""The stages of dvc.yaml. How they compute is settled before one of them loads a library."""

from classifier.io.arithmetic import choose_arithmetic

choose_arithmetic()
