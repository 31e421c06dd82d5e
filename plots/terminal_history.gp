# Draws one series of a history in characters.  Set by bench/terminal_plot.py:
#   file (index 0: place and ratio of each run; index 1: place and mean of each level), width, height, title_text, y_text, low, high, last, x_tics
set terminal dumb size width, height noenhanced
set title title_text
set xlabel "runs, oldest first; a revision where it begins"
set ylabel y_text
set key outside right top Right samplen 2
set xrange [-0.5:last]
set yrange [low:high]
eval "set xtics (" . x_tics . ")"
set tics nomirror scale 0
plot file index 1 using 1:2 with lines title "level", file index 0 using 1:2 with points pointtype 1 title "run"
