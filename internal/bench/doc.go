// Package bench measures the manager side by side with what it is built on, in one run, and reports ratios: make bench.
package bench
