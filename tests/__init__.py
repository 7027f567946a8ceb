"""The tests, which compute as the stages do."""

from classifier.io.arithmetic import choose_arithmetic

choose_arithmetic()
