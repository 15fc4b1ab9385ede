// The page's one script: a button beside each command puts it on the clipboard.
for (const button of document.querySelectorAll("button.copier")) {
  const command = button.parentElement.querySelector("pre");
  const say = (words) => {
    button.textContent = words;
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  };
  const select = () => {
    getSelection().selectAllChildren(command);
    return document.execCommand("copy");
  };
  button.addEventListener("click", () => {
    // A page that came over plain http has no clipboard of its own: what is selected is copied.
    const written = navigator.clipboard
      ? navigator.clipboard.writeText(command.textContent)
      : Promise.reject();
    written.then(() => say("Copied"), () => say(select() ? "Copied" : "Selected"));
  });
  button.hidden = false;
}
