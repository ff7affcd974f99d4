// Copies the value that a button names; without scripts the buttons stay hidden and the value can be selected.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const source = document.getElementById(button.dataset.copy) ?? button.previousElementSibling;
    const said = button.querySelector("[role=status]");
    try {
      await navigator.clipboard.writeText(source.value ?? source.textContent);
      said.textContent = "Copied";
    } catch {
      source.focus();
      getSelection().selectAllChildren(source);
      said.textContent = "Press Ctrl+C";
    }
  });
}
