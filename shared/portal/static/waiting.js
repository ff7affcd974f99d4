// Shows that a form which takes long is on its way, and sends it once; without scripts the browser's own sign has to do.
for (const form of document.querySelectorAll("form[data-waiting]")) {
  const sign = form.querySelector("progress");
  form.addEventListener("submit", (event) => {
    if (!sign.hidden) event.preventDefault();
    sign.hidden = false;
  });
  // Whoever comes back to the page may find it as they left it.
  addEventListener("pageshow", () => {
    sign.hidden = true;
  });
}
