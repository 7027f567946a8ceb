"""What people type. How it is computed is settled before a library is loaded."""

from classifier.io.arithmetic import choose_arithmetic

choose_arithmetic()
