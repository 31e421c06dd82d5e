# Draws one experiment in characters.  Set by bench/terminal_plot.py:
#   file (one index per arm: name, then x and median), arms, width, height, title_text, x_text, y_text, tics
set terminal dumb size width, height noenhanced
set title title_text
set xlabel x_text
set ylabel y_text
set key outside right top Right samplen 2
set logscale xy
set offsets graph 0.03, graph 0.03, graph 0.05, graph 0.05
eval "set xtics (" . tics . ")"
set tics nomirror
plot for [i=0:arms-1] file index i using (($1) < 1 ? 1 : $1):2 with linespoints title columnheader(1)
