package contain

// Main becomes the warden or the launcher and does not return, where this process was started as one; otherwise it does nothing.
// Call it first in main and in TestMain, as live.Main.
func Main() {}
