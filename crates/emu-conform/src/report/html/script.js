for (const section of document.querySelectorAll("section")) {
  const search = section.querySelector("input[type=search]"), failing = section.querySelector("input[type=checkbox]");
  if (!search) continue;
  const show = () => {
    const words = search.value.toLowerCase();
    for (const row of section.querySelectorAll("tbody.rows > tr")) {
      const wanted = row.dataset.name.includes(words) && !(failing.checked && row.dataset.state === "good");
      row.classList.toggle("hidden", !wanted);
    }
  };
  search.addEventListener("input", show);
  failing.addEventListener("change", show);
  show();
}
