// Command static stands in for a stage's program that needs no library.
package main

func main() { println("static") }
