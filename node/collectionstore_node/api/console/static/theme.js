// Before anything is drawn, so that no page flashes in the wrong colours. The only thing that outlives a session.
"use strict";
(() => {
  const KEY = "collectionstore.theme";
  const root = document.documentElement;
  const show = (theme) => {
    if (theme === "light" || theme === "dark") root.dataset.theme = theme;
    else delete root.dataset.theme;
  };
  show(localStorage.getItem(KEY));
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = root.dataset.theme || "auto";
    choice.addEventListener("change", () => {
      if (choice.value === "auto") localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, choice.value);
      show(choice.value);
    });
  });
})();
