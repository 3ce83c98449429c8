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

// A link into a folded part opens it; not every browser does so by itself.
const reveal = () => {
  const target = document.getElementById(location.hash.slice(1));
  let fold = target?.closest("details:not([open])");
  if (!fold) return;
  for (; fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target.scrollIntoView();
};

addEventListener("hashchange", reveal);
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
  // A second click on the same link changes no address, and so is no hashchange.
  document.addEventListener("click", (event) => {
    if (event.target.closest("a[href^='#']")?.hash === location.hash) reveal();
  });
  label();
  reveal();
});
