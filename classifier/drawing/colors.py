"""The colours of the pictures: from the palette of Okabe and Ito, for colour-blind readers too."""

BLUE, VERMILION, GREEN, ORANGE = "#0072B2", "#D55E00", "#009E73", "#E69F00"
