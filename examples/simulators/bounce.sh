#!/bin/sh
# A ball thrown from a height, as a simulator for sv.command, protocol "line": reads
# a line [height, speed] (m, m/s upwards) and answers with a line of 32 heights, 0.1 s
# apart, 0 once it has landed. Any awk will do: the shell starts one for each line.
while read -r line; do
  echo "$line" | tr -d '[],' | awk '{
    for (i = 0; i < 32; i++) {
      t = i / 10
      h = $1 + $2 * t - 9.81 / 2 * t * t
      if (h < 0) h = 0
      printf "%s%.6g", (i ? ", " : "["), h
    }
    print "]"
  }'
done
