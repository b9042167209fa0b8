// Runs before the first paint: the theme that the viewer chose, so that nothing flashes.
(() => {
  let theme = null;
  try {
    theme = localStorage.getItem("tidegate.theme");
  } catch {
    // Storage may be forbidden; then the system's preference counts.
  }
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
})();
