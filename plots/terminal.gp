# Draws one experiment in characters.  Set by bench/terminal_plot.py:
#   file (one index per arm: name, then x and median), arms, width, height, title_text, x_text, y_text, low, high, first, last, x_tics, y_tics
set terminal dumb size width, height noenhanced
set title title_text
set xlabel x_text
set ylabel y_text
set key outside right top Right samplen 2
set logscale xy
set xrange [first:last]
set yrange [low:high]
eval "set xtics (" . x_tics . ")"
eval "set ytics (" . y_tics . ")"
set tics nomirror scale 0
plot for [i=0:arms-1] file index i using (($1) < 1 ? 1 : $1):2 with linespoints title columnheader(1)
