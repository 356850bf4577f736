# What gcov prints for csrc/lb_*.c, as one line for each file.
/^File / {
    wanted = index($0, "csrc/lb_") && /\.c'$/
    file = substr($0, index($0, "csrc/") + 5)
    sub(/'$/, "", file)
}
wanted && /^Lines executed:/ { lines = substr($0, 16) }
wanted && /^Taken at least once:/ { row(substr($0, 21)) }
wanted && /^No branches/ { row("no branches") }

function row(branches) {
    if (!printed++)
        printf "%-22s %-20s %s\n", "coverage", "lines", "branches taken"
    printf "%-22s %-20s %s\n", file, lines, branches
}
