# Prints which of the names that follow the first is nearest to it, in single-character edits; case does not count.
# awk -f nearest.awk VARIENT SHAPE VARIANT TIMING
function least(a, b) { return a < b ? a : b }

function edits(a, b,    row, above, diagonal, i, j) {
    for (j = 0; j <= length(b); j++) row[j] = j
    for (i = 1; i <= length(a); i++) {
        diagonal = row[0]
        row[0] = i
        for (j = 1; j <= length(b); j++) {
            above = row[j]
            row[j] = least(least(above, row[j - 1]) + 1, diagonal + (substr(a, i, 1) != substr(b, j, 1)))
            diagonal = above
        }
    }
    return row[length(b)]
}

BEGIN {
    for (k = 2; k < ARGC; k++) {
        distance = edits(toupper(ARGV[1]), ARGV[k])
        if (k == 2 || distance < best) {
            best = distance
            nearest = ARGV[k]
        }
    }
    print nearest
    exit
}
