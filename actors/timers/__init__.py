"""What happens to conversations because time passes: snoozes that end, silence that resolves, reminders."""
