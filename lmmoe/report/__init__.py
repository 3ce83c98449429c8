"""What only the report needs: profiles, runs, tables, pictures, the page."""
