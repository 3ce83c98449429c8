// The theme: what the reader chose before, else what the system says.
const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");
const dark = () => (root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
const remember = (...theme) => {
  try {
    if (theme.length) localStorage.setItem("lmmoe-theme", theme[0]);
    return localStorage.getItem("lmmoe-theme");
  } catch {
    return null; // storage may be forbidden; the button works all the same
  }
};
if (["light", "dark"].includes(remember())) root.dataset.theme = remember();

addEventListener("DOMContentLoaded", () => {
  const button = document.getElementById("theme");
  const label = () => (button.textContent = dark() ? "Light theme" : "Dark theme");
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    remember(root.dataset.theme);
    label();
  });
  system.addEventListener("change", label);
  label();
});
